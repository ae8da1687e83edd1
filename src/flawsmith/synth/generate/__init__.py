"""Long jobs: a spec in, a data set of labelled images out, through crashes, full disks and interruptions."""

from flawsmith.synth.generate.image import LABELS, Images
from flawsmith.synth.generate.job import Limits
from flawsmith.synth.generate.run import ENGINES, Plan, Progress, Report, generate, images_of, trial

__all__ = ["ENGINES", "LABELS", "Images", "Limits", "Plan", "Progress", "Report", "generate", "images_of", "trial"]
