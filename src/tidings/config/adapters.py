"""What the settings of every source and every channel begin with; an adapter extends them by its own."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidings.config.types import Bool, Languages, Line, Name


class Frozen(BaseModel):
    """A model of configuration: nothing unknown in it, nothing changed after."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    WRITTEN_AS: ClassVar[dict[str, type[BaseModel]]] = {}
    """Models of what is written, for fields that are read into something else."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, written: Any) -> Any:
        """`key:` with nothing behind it is as good as left out; an unknown one is still unknown."""
        if not isinstance(written, dict):
            return written
        known = {name for key, field in cls.model_fields.items() for name in (key, field.alias)}
        return {key: value for key, value in written.items() if value is not None or key not in known}


class SourceSettings(Frozen):
    """Common to every source."""

    type: Line = Field(description="Which kind of source; `folder` reads Markdown files.")


class ChannelSettings(Frozen):
    """Common to every channel."""

    type: Line = Field(description="Which kind of channel, such as `webhook` or `slack`.")
    languages: Languages = Field(
        default=(), description="Languages that it speaks, the best first; default: the first of site.languages."
    )
    allow_private: Bool = Field(
        default=False, description="Permits an address of the intranet or of this machine; others are refused."
    )
    was: Name | None = Field(default=None, description="Its former name, if it was renamed.")
