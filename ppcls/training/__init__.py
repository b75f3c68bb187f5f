"""Training and evaluation. Importing this package needs PaddlePaddle."""

from ppcls.errors import require_paddle

require_paddle()
