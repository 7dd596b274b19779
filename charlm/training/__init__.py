"""Training: the trainer, its optimizer, schedule and checkpoints."""
