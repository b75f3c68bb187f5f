"""Export: from a trained model to a folder that predicts. Importing this package needs Paddle.

It stands after `inference` in the order of imports, because an export is proven with the
predictor that will run it.
"""

from ppcls.errors import require_paddle

require_paddle()
