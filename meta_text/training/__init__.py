"""Meta-training, and comparing learners."""

from meta_text.extras import check_extra

check_extra("train", "meta-training")
