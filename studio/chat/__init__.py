"""Chat with anything that speaks OpenAI's protocol: client, answers, conversations, endpoints."""
