"""Every hyperparameter and option: one name, one default, one range, one help text. A file a subject."""

from charlm.config.commands import COMMANDS, read_config
from charlm.config.inference import CompressOptions, EvalOptions, MeasureOptions, SampleOptions, ScoreOptions
from charlm.config.inspecting import (
    FEATURES,
    AblateOptions,
    CellsOptions,
    FindOptions,
    GradientOptions,
    LearningOptions,
    ReadOptions,
    SurfaceOptions,
    SurpriseOptions,
)
from charlm.config.network import PLUGIN_CELLS, WIRING, ModelOptions, cell_names, own_cells
from charlm.config.texts import SYNTHETIC, CatalogueOptions, GetOptions, PrepareOptions
from charlm.config.training import PRESETS, TrainOptions, preset_names

__all__ = [
    "AblateOptions",
    "COMMANDS",
    "CatalogueOptions",
    "CellsOptions",
    "CompressOptions",
    "EvalOptions",
    "FEATURES",
    "FindOptions",
    "GetOptions",
    "GradientOptions",
    "LearningOptions",
    "MeasureOptions",
    "ModelOptions",
    "PLUGIN_CELLS",
    "PRESETS",
    "PrepareOptions",
    "ReadOptions",
    "SYNTHETIC",
    "SampleOptions",
    "ScoreOptions",
    "SurfaceOptions",
    "SurpriseOptions",
    "TrainOptions",
    "WIRING",
    "cell_names",
    "own_cells",
    "preset_names",
    "read_config",
]
