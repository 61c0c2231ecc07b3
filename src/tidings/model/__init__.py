"""Dataclasses, enums, errors, cadence arithmetic, signed tokens; imports no other part of Tidings."""
