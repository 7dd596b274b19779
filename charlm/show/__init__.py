"""What a person sees: lines, progress and tables on the terminal. No tensors, nothing computed."""
