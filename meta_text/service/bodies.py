"""What requests and answers hold, as OpenAPI describes it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, StringConstraints

Id = Annotated[
    str,
    StringConstraints(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"),
    Field(description="Letters, digits, - and _; also the name of the classifier's folder.", examples=["support"]),
]
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Number = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Label = Annotated[StrictBool | Number | Name, Field(examples=["delivery"])]
Rate = Annotated[
    float,
    Field(
        ge=0.01,
        le=0.2,
        description="The share of texts of these classes that may be answered 'none' by mistake.",
        examples=[0.05],
    ),
]
DELIVERY, REFUND = ["where is my parcel", "it never arrived"], ["I want my money back", "refund please"]
EXAMPLES: list[JsonValue] = [
    {"text": text, "label": label} for label, texts in (("delivery", DELIVERY), ("refund", REFUND)) for text in texts
]


class Body(BaseModel):
    """A request; a field that is not known is refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class Example(Body):
    text: Text
    label: Label


class NewClass(Body):
    label: Label
    texts: list[Text] = []
    description: Text | None = Field(default=None, description="For classifiers made with `label_names`.")


class Asked(Body):
    """Texts to classify."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"classifier": "support", "texts": ["the courier did not come"], "reject": 0.05}}
    )
    classifier: Id
    texts: list[Text] = Field(min_length=1)
    reject: Rate | None = Field(default=None, description="Answer 'none' at this rate; default: the classifier's own.")


class NewClassifier(Body):
    """A classifier to learn from labelled texts."""

    model_config = ConfigDict(json_schema_extra={"example": {"id": "support", "examples": EXAMPLES, "reject": 0.05}})
    id: Id | None = Field(default=None, description="Default: a new one is made.")
    examples: list[Example] = Field(default=[], description="May be empty where `label_names` describes classes.")
    label_names: bool | dict[Name, Text] = Field(
        default=False, description="true: labels are read as texts too; or a description of each label."
    )
    reject: Rate | None = Field(default=None, description="Answer 'none' at this rate where a request names none.")


class Change(Body):
    """Edits that are made together or not at all: classes and examples are added first, then removed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "add_classes": [{"label": "invoice", "texts": ["send me the bill again"]}],
                "add_examples": [{"text": "the driver is late", "label": "delivery"}],
            }
        }
    )
    add_classes: list[NewClass] = []
    add_examples: list[Example] = []
    remove_examples: list[Text] = []
    remove_classes: list[Label] = []
    reject: Rate | None = Field(default=None, description="The classifier's rate from now on; null: no 'none'.")


class Answer(BaseModel):
    label: bool | int | str | None = Field(description="null for 'none of these'.", examples=["delivery"])
    none: bool = Field(description="True where the text looks like none of the classes.", examples=[False])
    probability: float = Field(description="Of the most probable class.", examples=[0.93])
    probabilities: list[float] = Field(description="In the order of `classes`; they sum to 1.", examples=[[0.93, 0.07]])


class Answers(BaseModel):
    classifier: str = Field(examples=["support"])
    classes: list[bool | int | str] = Field(examples=[["delivery", "refund"]])
    reject: float | None = Field(description="The rate that was used.", examples=[0.05])
    answers: list[Answer] = Field(description="One for each text, in order.")


class Summary(BaseModel):
    id: str = Field(examples=["support"])
    classes: int = Field(examples=[2])
    examples: int = Field(description="Labelled texts that were kept.", examples=[4])


class Listed(BaseModel):
    classifiers: list[Summary]


class KeptClass(BaseModel):
    label: bool | int | str = Field(examples=["delivery"])
    examples: int = Field(examples=[2])
    description: str | None = None


class Classifier(BaseModel):
    id: str = Field(examples=["support"])
    classes: list[KeptClass]
    reject: float | None = Field(examples=[0.05])
    can_change: bool = Field(description="False for a student, and where the labelled texts were not kept.")
    notes: list[str] = Field(default=[], description="What was noticed in the texts while they were learned.")


class Effect(BaseModel):
    """What an edit did to a class that was there before, on its own examples."""

    label: bool | int | str = Field(examples=["delivery"])
    examples: int = Field(examples=[2])
    moved: int = Field(description="How many are answered otherwise now.", examples=[0])
    probability_drop: float = Field(description="Mean decrease of this class's probability.", examples=[0.01])


class Changed(Classifier):
    effects: list[Effect]


class Health(BaseModel):
    status: str = Field(examples=["ok"])
    version: str
    classifiers: int
    waiting: int = Field(description="Requests that wait for their turn.")
