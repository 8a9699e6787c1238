"""The page: shell, words, widgets and the gate. The only part of studio/ that imports gradio."""
