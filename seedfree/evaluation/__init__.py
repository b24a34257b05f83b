"""Measuring a model: benchmarks, scores, judges, native speakers."""

__all__: list[str] = []
