"""Images to attack and to train on: what ships, folders of images, arrays and torch data sets."""

from steelman.data.images import Data, Images
from steelman.data.shipped import SHIPPED, Shipped, datasets
from steelman.data.sources import Source, load
from steelman.data.summary import Part, Summary, check

__all__ = ["SHIPPED", "Data", "Images", "Part", "Shipped", "Source", "Summary", "check", "datasets", "load"]
