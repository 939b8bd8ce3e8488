"""Meta-training, and comparing learners."""
