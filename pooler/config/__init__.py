"""The configuration: one YAML file, validated as a whole, every fault at once with its place. Starts nothing."""

from pooler.config.faults import ConfigError, ConfigFault, Place
from pooler.config.load import load, load_frontend
from pooler.config.model import BackendConfig, Config, Pool, PoolerSettings
from pooler.config.operations import OperationConfig, PromptArgumentConfig, PromptConfig

__all__ = [
    "BackendConfig",
    "Config",
    "ConfigError",
    "ConfigFault",
    "OperationConfig",
    "Place",
    "Pool",
    "PoolerSettings",
    "PromptArgumentConfig",
    "PromptConfig",
    "load",
    "load_frontend",
]
