"""What a trained model is good for; each use ignorant of the others."""
