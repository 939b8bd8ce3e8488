"""SetFit on the same MiniLM: the whole training at 5-way, a stated number of optimiser steps at 77-way."""

import sys

from datasets import Dataset
from measuring import accuracy, tasks, tell, timed
from setfit import SetFitModel, Trainer, TrainingArguments

STEPS_77 = 15
task, model_path = tasks(), sys.argv[3]


def fit(support, max_steps=-1):
    model = SetFitModel.from_pretrained(model_path, local_files_only=True)
    args = TrainingArguments(
        output_dir=sys.argv[4], batch_size=16, num_epochs=1, max_steps=max_steps, report_to="none", save_strategy="no"
    )
    data = Dataset.from_dict({"text": support["texts"], "label": support["labels"]})
    trainer = Trainer(model=model, args=args, train_dataset=data)
    seconds, _ = timed(trainer.train)
    return seconds, model


five, right = [], []
for draw in task["five_way"]:
    seconds, model = fit(draw)
    five.append(seconds)
    right.append(accuracy(model.predict(draw["test_texts"]), draw["test_labels"]))
    results = {"fit5": five, "accuracy5": right}
    tell(results)  # keeps what is measured so far, in case the rest runs out of time
seconds, model = fit(task["all_way"][0], STEPS_77)
results |= {"fit77_partial": [seconds], "partial": f"{STEPS_77} optimiser steps of 16 pairs and the head"}
tell(results)
