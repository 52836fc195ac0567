"""Sample e-commerce transactions with fraud, from a seed: `python -m devhost.sample_data --help`."""

from devhost.sample_data.generator import SampleConfig, generate

__all__ = ["SampleConfig", "generate"]
