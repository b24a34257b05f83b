"""Every setting of a training, with its unit and range: the paper's recipe, and a better one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seedfree.dataset import ALPACA_SYSTEM
from seedfree.errors import ConfigError

__all__ = ["QLoRAConfig"]

# A base model of fewer parameters is not quantized unless that is asked for.
_SMALL = 1_000_000_000
# An empty tuple would leave nothing to train.
_Modules = Annotated[tuple[str, ...], Field(min_length=1)]

# Why `recommended()` leaves the paper: `differences` shows them, and docs/training.md repeats them.
_REASONS = {
    "alpha": (
        "a scale of 1, so that the learning rate alone says how large a step is; the paper's scale "
        "halves it"
    ),
    "quantize": (
        "NF4 saves little memory below a billion parameters, and costs a small model much: 0.23 "
        "nats a token on Gemma 3 270M"
    ),
    "modules_to_save": (
        "Llama-3-8B's embed_tokens and lm_head are 1.05 of its 8 billion parameters: trained in "
        "full they are 12 times the adapter, in memory and on disk. They are needed only where new "
        "tokens are added"
    ),
    "chat_template": (
        "the base model's own template adds no token; where it has none, chatml can be asked for"
    ),
    "system": (
        "an English preamble costs tokens in every row and says nothing to a model that answers in "
        "Thai"
    ),
    "max_length": (
        "a power of two, as kernels like it; with packing the length costs nothing where rows are "
        "short"
    ),
    "packing": (
        "rows are laid end to end, each seeing itself alone, so that no computation goes into "
        "padding"
    ),
    "pad_to_max_length": "a row of 400 tokens padded to 4,000 is nine tenths padding",
    "accumulation": (
        "ten rows of 400 tokens fill a packed sequence, so two sequences are more rows than the "
        "paper's 8"
    ),
    "learning_rate": "the value of QLoRA (Dettmers et al. 2023) for models of this size",
    "warmup_ratio": (
        "half of the run below the peak rate is half of the run lost; a few dozen steps settle Adam"
    ),
    "optimizer": (
        "8 bits save 6 bytes for each trained parameter, which matters for whole embeddings alone"
    ),
    "adapter_dtype": (
        "bf16 has 8 bits of precision: updates below 1/256 of a weight round to nothing"
    ),
    "validation_share": "250 of 5,000 rows tell the loss well enough; the others teach",
}


class QLoRAConfig(BaseModel):
    """The settings of a `QLoRATrainer`. Without arguments, they are `recommended()`.

    Raises:
        ConfigError: An unknown name, or a value outside its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(
        32, ge=1, le=1024, description="Rank of each adapter: a linear layer [o, i] gets r (o + i)."
    )
    alpha: float = Field(32, gt=0, description="The adapter's output is scaled by alpha / rank.")
    dropout: float = Field(
        0.05, ge=0, lt=1, description="Share of an adapter's inputs that are zeroed in training."
    )
    target_modules: Literal["all-linear"] | _Modules = Field(
        "all-linear", description="Layers with adapters, by the end of their names; never lm_head."
    )
    modules_to_save: tuple[str, ...] = Field(
        (),
        description="Layers trained in full. Where tokens are added, embed_tokens and lm_head are, "
        "named or not.",
    )
    quantize: bool | None = Field(
        None,
        description="Base weights in NF4, or as they are (bf16, or float32 where the device has "
        "none). None: in NF4 from a billion parameters on.",
    )
    double_quant: bool = Field(
        True, description="NF4's scales in 8 bits: 0.52 bytes a weight in place of 0.56."
    )
    adapter_dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of the trained weights where the base computes in bf16 (a GPU); a CPU has "
        "float32.",
    )
    chat_template: str | None = Field(
        None,
        description="None: the tokenizer's own. 'chatml': ChatML. Otherwise a template's Jinja "
        "text.",
    )
    stop: str = Field(
        "auto",
        min_length=1,
        description="Token that ends an answer. 'auto': the template's, or the base model's own "
        "end token where the base never learnt that one.",
    )
    stop_weight: float = Field(
        1.0,
        ge=1,
        description="Weight of that token in the loss; each other token has 1. Few rows with more "
        "than 1 teach a model to end its answers. Above 1, all logits are in memory at once.",
    )
    system: str | None = Field(
        None, description="System prompt of rows that have none; also when it generates."
    )
    prompt_loss: bool = Field(
        False, description="Loss on what the user says too, not on answers alone."
    )
    language: str | None = Field(
        None, description="Code that every row must have; None: the commonest one."
    )
    max_length: int = Field(
        4096, ge=8, description="Tokens of a sequence; longer rows are cut, and counted."
    )
    packing: bool = Field(True, description="Several rows in a sequence; no row sees another.")
    pad_to_max_length: bool = Field(
        False, description="Every row is padded to max_length; not with packing."
    )
    batch_size: int = Field(1, ge=1, description="Sequences a forward pass, on each device.")
    accumulation: int = Field(2, ge=1, description="Forward passes a step.")
    epochs: float = Field(2.0, gt=0, description="Passes over the training rows.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="At its peak.")
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = Field(
        "cosine", description="How the rate goes on after the warm-up."
    )
    warmup_ratio: float = Field(
        0.03, ge=0, lt=1, description="Share of the steps in which the rate rises."
    )
    optimizer: Literal["adamw_torch", "adamw_8bit", "paged_adamw_8bit"] = Field(
        "adamw_torch",
        description="AdamW with states of 32 or 8 bits; paged ones go to main memory under "
        "pressure.",
    )
    weight_decay: float = Field(0.0, ge=0, description="Of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    gradient_checkpointing: bool = Field(
        True,
        description="Activations are computed again in the backward pass: a third more time, far "
        "less memory.",
    )
    validation_share: float = Field(
        0.05, ge=0, lt=1, description="Of the rows, by task; 0 for no validation."
    )
    checkpoints: int = Field(
        10, ge=1, le=1000, description="How often in a run it is validated and saved."
    )
    patience: int = Field(
        0,
        ge=0,
        description="The training ends after so many checkpoints in a row whose validation loss is "
        "not the lowest, and the best one is kept; 0: it goes on to the end.",
    )
    keep: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of what the adapter learnt that is kept: after the training its scale "
        "is multiplied by it. Between the base model and the trained one, answers to other "
        "people's questions may be better than at both ends (Wortsman et al. 2022).",
    )
    # numpy, which transformers seeds too, takes 32 bits.
    seed: int = Field(
        0, ge=0, lt=2**32, description="Of the split, the order, the adapter and the dropout."
    )

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _in_one_line(error) from None

    @model_validator(mode="after")
    def _fits_together(self) -> QLoRAConfig:
        if self.packing and self.pad_to_max_length:
            raise ValueError("packing=True leaves nothing for pad_to_max_length=True")
        # PEFT's "all-linear" leaves the output layer out too, and `footprint` counts on it.
        if "lm_head" in self.target_modules:
            raise ValueError("lm_head takes no adapter; name it in modules_to_save")
        return self

    def in_nf4(self, parameters: int) -> bool:
        """Tells whether a base model of so many parameters is quantized."""
        return parameters >= _SMALL if self.quantize is None else self.quantize

    @classmethod
    def paper(cls, **changes: Any) -> QLoRAConfig:
        """Returns the paper's recipe (section 4.1 and its code), with `changes`.

        It was made for Llama-3-8B on one GPU.
        """
        recipe: dict[str, Any] = {
            "rank": 32,
            "quantize": True,
            "alpha": 16,
            "dropout": 0.05,
            "target_modules": "all-linear",
            "modules_to_save": ("embed_tokens", "lm_head"),
            "adapter_dtype": "bfloat16",
            "chat_template": "chatml",
            "system": ALPACA_SYSTEM,
            "max_length": 4000,
            "packing": False,
            "pad_to_max_length": True,
            "batch_size": 1,
            "accumulation": 8,
            "epochs": 2,
            "learning_rate": 1.5e-4,
            "scheduler": "cosine",
            "warmup_ratio": 0.5,
            "optimizer": "paged_adamw_8bit",
            "gradient_checkpointing": True,
            "validation_share": 0.125,
        }
        return cls(**recipe | changes)

    @classmethod
    def recommended(cls, **changes: Any) -> QLoRAConfig:
        """Returns the defaults, with `changes`. `differences` gives the reason for each.

        `QLoRATrainer.recommended` fits them to rows and a base model.
        """
        return cls(**changes)

    @classmethod
    def differences(cls) -> str:
        """Lists the settings in which `paper()` and `recommended()` differ, and why.

        Returns:
            A Markdown table.
        """
        paper, better = cls.paper(), cls.recommended()
        lines = ["| setting | `paper()` | `recommended()` | why |", "|---|---|---|---|"]
        for name in cls.model_fields:
            old, new = getattr(paper, name), getattr(better, name)
            if old != new:
                # What is chosen by size is chosen when the base model is known.
                better_cell = "from 10⁹ parameters on" if name == "quantize" else _cell(new)
                lines.append(f"| `{name}` | {_cell(old)} | {better_cell} | {_REASONS[name]} |")
        return "\n".join(lines) + "\n"


def _in_one_line(error: ValidationError) -> ConfigError:
    """Takes the first of pydantic's complaints. Its own text lists all of them on many lines."""
    first = error.errors(include_url=False, include_context=False)[0]
    # pydantic puts these words before what `_fits_together` says.
    message = first["msg"].removeprefix("Value error, ")
    if first["loc"]:
        message = f"{first['loc'][0]}: {message}"
    hint = None
    if first["type"] == "extra_forbidden":
        hint = f"Known: {', '.join(QLoRAConfig.model_fields)}."
    return ConfigError(f"QLoRAConfig: {message}", hint=hint)


def _cell(value: object) -> str:
    # The whole prompt would fill the table.
    if value == ALPACA_SYSTEM:
        return "Alpaca's, in English"
    if isinstance(value, tuple):
        return ", ".join(f"`{name}`" for name in value) or "none"
    return "none" if value is None else f"`{value}`"
