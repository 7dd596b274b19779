"""All hyperparameters and options: name, default, range and help, a file for each subject."""

from charlm.config.commands import COMMANDS, read_config
from charlm.config.inference import CompressOptions, EvalOptions, MeasureOptions, SampleOptions, ScoreOptions
from charlm.config.inspecting import (
    FEATURE_NAMES,
    AblateOptions,
    CellsOptions,
    FindOptions,
    GradientOptions,
    LearningOptions,
    ReadOptions,
    SurfaceOptions,
    SurpriseOptions,
)
from charlm.config.network import PLUGIN_CELLS, WIRING_OPTIONS, ModelOptions, cell_names, own_cells
from charlm.config.texts import SYNTHETIC_OPTIONS, CatalogueOptions, GetOptions, PrepareOptions
from charlm.config.training import PRESETS_FOLDER, TrainOptions, preset_names

__all__ = [
    "AblateOptions",
    "COMMANDS",
    "CatalogueOptions",
    "CellsOptions",
    "CompressOptions",
    "EvalOptions",
    "FEATURE_NAMES",
    "FindOptions",
    "GetOptions",
    "GradientOptions",
    "LearningOptions",
    "MeasureOptions",
    "ModelOptions",
    "PLUGIN_CELLS",
    "PRESETS_FOLDER",
    "PrepareOptions",
    "ReadOptions",
    "SYNTHETIC_OPTIONS",
    "SampleOptions",
    "ScoreOptions",
    "SurfaceOptions",
    "SurpriseOptions",
    "TrainOptions",
    "WIRING_OPTIONS",
    "cell_names",
    "own_cells",
    "preset_names",
    "read_config",
]
