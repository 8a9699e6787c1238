"""What a launch will need, worked out before it. No torch, no card is touched."""
