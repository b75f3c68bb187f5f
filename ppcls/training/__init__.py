"""Training and evaluation. Importing this package needs PaddlePaddle."""

from ppcls.paddle_install import require_paddle

require_paddle()
