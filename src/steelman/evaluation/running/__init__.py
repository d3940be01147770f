"""An evaluation on its way: every attempt on every chunk of images, the curve and the trust checks."""
