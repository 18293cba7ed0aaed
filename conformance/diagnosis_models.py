"""The library of fault models: alternatives of the reference that a failing implementation is compared with.

A model is a layer class with the interface of ``adapters.numpy_reference.NumpyLayer``: those of the zoo that a pure
program can stand for, and general ones. Models of one family are relatives: they err in the same part of the
definition.
"""

from functools import cache
from importlib import import_module
from typing import NamedTuple

from adapters.numpy_reference import NumpyLayer


class Model(NamedTuple):
    """A fault model; ``cause`` is the sentence that a report shows."""

    name: str
    family: str
    cause: str
    layer: type[NumpyLayer]
    #: Whether it may compute in float64; where it speaks of digits it must compute as the implementation does.
    wide: bool = True


#: Family -> names of its part of the definition, for readers.
TITLES = {
    "epsilon": "epsilon",
    "elements": "which elements enter the statistics",
    "variance": "how the variance is computed",
    "channels": "which channel is given what",
    "affine": "gamma and beta",
    "mode": "which statistics a mode uses",
    "stale": "state that is not refreshed",
    "decay": "the decay",
    "moving": "what the moving statistics become",
    "updates": "when the moving statistics are updated",
    "bessel": "m or m - 1",
    "dx": "the gradient with respect to the input",
    "parameters": "the gradients of gamma and beta",
    "inference": "the gradients of inference",
    "precision": "digits",
    "state": "how state is set and kept",
}

#: Family -> exhibits of the zoo, by module. Left out: what only memory shows, and chance.
_ZOO: dict[str, dict[str, str]] = {
    "epsilon": {
        "epsilon": "EpsilonOutsideRoot EpsilonSquared EpsilonDefault EpsilonRaised EpsilonFuzz EpsilonTwice "
        "EpsilonInHalf EpsilonCapped EpsilonAsFloor EpsilonOnFactor EpsilonOnSumOfSquares EpsilonOnlyInTraining "
        "EpsilonOnlyInInference EpsilonDefaultInInference EpsilonTwiceInInference EpsilonOmittedInGradient "
        "FactorCapped",
        "gradients": "GradientPathEpsilon",
    },
    "elements": {
        "statistics": "SpatialStatistics BatchAxisStatistics RankThreeByPosition FifthAxisForgotten GhostBatches "
        "LastBlockDropped VectorTailSkipped FirstElementTwice LastElementMissed LargeBatchSubsampled "
        "LargeBatchTruncated HalvesVariancePooled BlockMeansAveraged ThreadsNormalizeAlone ExtremesTrimmed",
        "shapes": "OddWidthCropped FirstAxisUnevenlyWeighted",
    },
    "variance": {
        "statistics": "SecondMoment MeanAbsoluteDeviation VarianceRaised VarianceCapped "
        "SingleElementNotANumber SingleElementPassed ConstantChannelPassed",
        "numerics": "SmallVarianceFlushed",
    },
    "channels": {
        "statistics": "VarianceSharedByChannels VarianceOfLoudestChannel MeanSharedByChannels",
        "shapes": "FlattenedWithoutTranspose LastAxisPreferred NegativeAxisOffByOne SquarePlanesTransposed "
        "ParametersAlongLastAxis BetaAlongBatch ParametersInWrittenOrder LastChannelTakesNeighbour "
        "ChannelsWrapAtEight VectorTailOfChannels SixteenChannelsAtMost InferenceChannelsReversed "
        "MovingOfFirstEightChannels GradientsOfWholeVectors AxisZeroIsBatch",
        "affine": "GammaOfFirstChannel",
    },
    "affine": {
        "affine": "BetaBeforeGamma BetaInsideDivision BetaTwice GammaAndBetaSwapped GammaAbsolute GammaRectified "
        "GammaFromOne GammaExponential GammaZeroUnset GammaSmallPruned GammaAppliedToInput FoldedShiftForgetsGamma "
        "InferenceForgetsBeta BetaNeedsGamma GammaNeedsBeta CenterOffKeepsMean ScaleOffKeepsVariance "
        "ActivationFused NormalizedClipped",
    },
    "mode": {
        "modes": "InferenceUsesBatch InferenceUsesBatchOfMany InferenceUsesSampleOfOne InferenceUsesLastBatch "
        "InferenceUsesLastBatchOfShape TrainingModeSticks InferenceBlends InferenceUpdatesOnTheFly "
        "InferenceUnbiasedByBatch InferenceTakesDeviation InferenceTailUnnormalized InferenceQuantized "
        "InferenceClipped InferenceGradientTrains TrainingNeedsGradient TrainingUsesMoving TrainingUsesUpdated "
        "InferenceModeSticks Renormalized CenteredByMovingMean",
    },
    "stale": {
        "folds": "FoldNeverDropped FoldHealedByReading FoldSurvivesSetState FoldSurvivesTraining FoldedWhenBuilt",
        "state": "GammaOfInferenceFrozen",
        "gradients": "PreviousUpstream",
    },
    "decay": {
        "moving": "DecayReversed DecayDefault DecaySquared DecayZeroUnset DecayBelowOne DecayOfVarianceDefault "
        "DecayPerSample DecayWarmsUp CumulativeAverage",
        "numerics": "DecayInBfloat",
    },
    "moving": {
        "moving": "ZeroDebiased FirstStepInitializes BatchNotWeighted OldNotDecayed MovingDeviation "
        "MovingSecondMoment VarianceAroundNewMean MovingVarianceRaised MovingFromFirstSample SmallUpdatesSkipped "
        "MovingOfPrecision",
        "epsilon": "EpsilonInMovingVariance",
    },
    "bessel": {
        "statistics": "UnbiasedNormalization",
        "shapes": "SingleChannelUnbiased",
        "moving": "UnbiasedUndeclared UnbiasedForRankFour BiasedUndeclared UnbiasedByBatchSize UnbiasedTwice",
        "gradients": "CountLessOne",
    },
    "updates": {
        "updates": "NeverUpdated VarianceNeverUpdated UpdatedInInference UpdatedInInferenceGradient "
        "UpdatedInBackwardOnly UpdatedInBackwardToo UpdatedForNewShapesOnly UpdatedEverySecondStep "
        "UpdatedThreeTimes UpdateSkippedForSingleElement UpdatedOneStepLate UpdateSkippedAfterInference "
        "UpdateOverwritesSetState",
    },
    "dx": {
        "gradients": "StatisticsDetached VarianceDetached MeanDetached CountIsBatchSize OddCountHalved "
        "RankFiveCount VarianceTermTwice MeanTermUnscaled GammaMagnitudeInDx GammaOmittedInDx DxOfSpatialMean "
        "DxUsesMovingVariance SingleElementDx ConstantChannelDx UpstreamClipped UpstreamSparsified DxNormClipped "
        "CenterOffDetachesMean",
    },
    "parameters": {
        "parameter_gradients": "DgammaFromInput DgammaFromOutput DgammaUnscaled DgammaMean DgammaMaskedByGamma "
        "ParameterGradientsAccumulate ParameterGradientsSwapped DbetaMean DbetaTailSkipped FlagsIgnoredInGradients",
    },
    "inference": {
        "inference_gradients": "InferenceAsTraining InferenceDgammaFromBatch InferenceDxZero "
        "InferenceDxWithoutGamma InferenceParametersFrozen InferenceDgammaUncentered",
    },
    "precision": {
        "numerics": "StatisticsInHalf MeanInBfloat SquaresInHalf AccumulatedInHalf ReciprocalOfCountInHalf "
        "RootOfTwelveBits RootOfMagicNumber RootOfTwoNewtonSteps OutputInBfloat GammaInBfloat MovingInHalf "
        "UpdateInHalf UpstreamInHalf ProductsInTensorFloat NormalizedSavedInHalf InferenceGradientRoot "
        "StatisticsOfRoundedInput",
    },
    "state": {
        "state": "PartialSetResets SetIgnoresVariance SetIgnoresGammaAfterTraining SetZerosIgnored "
        "SetTakesEffectLate SetSwapsStatistics StateCached StateReportsRaisedVariance BuildIgnoresVariance "
        "BuildIgnoresMean GammaDecays BetaLearns BetaRecentered",
    },
}


def _general() -> dict[str, list[type[NumpyLayer]]]:
    """Models that are no exhibits of the zoo; they load it all the same, which only a run that fails needs."""
    from conformance import diagnosis_general as general
    from conformance import diagnosis_partial as partial

    return {
        "epsilon": general.EPSILON,
        # Two updates are one with the decay squared.
        "decay": [*general.DECAY, general.UpdatedTwice, *partial.DECAY],
        "elements": general.STATISTICS,
        "variance": [*general.FORMULA, general.MovingOfSecondMoment],
        "affine": [*general.AFFINE, *partial.AFFINE],
        "mode": partial.MODE,
        "bessel": partial.BESSEL,
        "dx": general.DX,
        "parameters": general.PARAMETERS,
        "updates": general.UPDATES,
        "moving": general.MOVING,
        "precision": partial.PRECISION,
    }


#: Families whose models speak of digits.
_NARROW = ("precision",)


def _sentence(layer: type[NumpyLayer]) -> str:
    return " ".join((layer.__doc__ or layer.__name__).split())


def _model(name: str, family: str, layer: type[NumpyLayer]) -> Model:
    return Model(name, family, _sentence(layer), layer, wide=family not in _NARROW)


@cache
def library() -> tuple[Model, ...]:
    """All models, the simpler ones of a family first; loaded when first asked for."""
    models: list[Model] = []
    further = _general()
    for family in TITLES:
        exhibits = []
        for module, names in _ZOO.get(family, {}).items():
            loaded = import_module(f"conformance.zoo.{module}")
            exhibits += [_model(name, family, getattr(loaded, name).layer) for name in names.split()]
        general = [_model(layer.__name__, family, layer) for layer in further.get(family, [])]
        # What too few digits give without any other fault must not be laid to a fault that they hide.
        models += [*general, *exhibits] if family in _NARROW else [*exhibits, *general]
    return tuple(models)
