"""Dataclasses, enums, errors, cadence arithmetic, signed tokens; imports nothing of ours."""
