"""An ML-DSA-44 witness, and one cosignature of it that another program made.

Signing is randomised here, and vectors must stay the same. So the signature is a constant: that of
filippo.io/mldsa (Go), which signs deterministically when asked to, for the seed 03×32 of interop
tests, the checkpoint of 70,000 entries and the time of the other vectors.
"""

from __future__ import annotations

from base64 import b64decode

from ledger_core.formats import mldsa44
from ledger_core.formats.vkey import MldsaWitnessSigner

PQ_WITNESS = MldsaWitnessSigner("witness.example/pq1", mldsa44.PrivateKey(b"\x03" * 32))
PQ_KEY_ID = "6b8436dd"
LOG_SEED_KEY_ID = "42d7ffa6"
"""Published by an independent program: for this witness, and for the log's name and seed 04×32."""

PQ_SIGNATURE = b64decode(
    "JTeg3pjfIM3BremUJXOwYYX1/L4p4xsMaAd1UCRyZ+kWPAR/kKnTqQ038jwuUqFoXM3IvfSFKqRMDp+7m9avW7bj94"
    "2TbSeDySRJO6uQySIvYmYRHrUSQvNg6jsPPL6FP+zeB6ixhcmRDOcNvqBU6Kc7lH7pbWv+biQLylNNE1LdpU3A7lEl"
    "C+7UHs2ueM2CRyGfq6It0+tA7AnJhJszhjxHkKnBPMleLwfIVGD3nxaWuLdSHKxEgtuaYPEwpdjOPMUTDvdP+s4JzT"
    "81W2jV8VK+nnekS2RJ6iazW91I5VGTfvIHfYfmWiqzRKoxPRnVkdC20zpr5pNaaqw4j60OKU+jzsG7gzxsqHwywzwq"
    "LmFEfF6TlH0ekzjrkKZCmIQ9FgLXBsJ9wBNrJGCplp0cL7jl+2ls+JAM/Gq+LN5c8iIsPrfOBHMO2ptitjq5JBleUd"
    "p6lJAM7D3jgYqqcRHrYU6aTxROaqIaoI4lwsrztoshBxiDIG5r6PoIkXr8iF35vXW3Cyl7d0b9mnNYAxY5L5QY/mXD"
    "xrCjsP8XRpsjB6dovYc0M1MmN+TJDQqvgv8ZD9+xAeQ5Dd+3zIDEg/dRufBAVG7k45roqKroEs3C4TL26fzSNA1Hlc"
    "o+iZNkXeQ505CRLlvv0iV9RxJ00pI+Dji2fmkyTw8VgA80ibN/JXf5cmHwJidhI4CtukxsWDtWpOzRVIVax9u7cM5c"
    "GJGx/gMHhSEBupHIFn82RA4TreLyB6QMDn+1gFKBuQPM6ev9HIqPW4wiHr/wCfrGrGg7KaeHk00ga99oD9UbsJxyI4"
    "c+FLtBlARZgsq342DQAXfwNgbmYD6p+mOB7N83/NRrykNko9HfVg8EElmgB24e+Sqt1UphRLNdBx8JuyV1fLb7BjcC"
    "Psizwpl8fdU7w0yAAeiUdudjHIsNzfz0OBz2tRCYMQSJzvggxskj+EQpf+jGbF/MqEIxN43bQuvku9ZRhy5UoxP6Xt"
    "/QsbVqMP3I+qcqlwnSZ7Ha4WFUlgdAH07g0UpHNkAwxBd3W360ti6oJkfVSimLROiA4iz7xl0iUeF8r5cycB12eyTY"
    "ytcqVMZ9+ev4HDXocWM/He1YlbGAIU9scDGTJ7hKrGfXvGEoyHVSJEOZZvPWEzBc0rZd5ssTHJPNsg9WuFfIdjlwJs"
    "VjuWNgLJ0wwlhDjkIkz4K0vcWiHhypFHiDT746oeY37zk81zXGR7nG3Ndt9UNofYQu2ZOnP169GYkqdF/P/b3gs43q"
    "pRJGq63b3mxBpToP8Hn419kqXSUEpfL4D/Ae/gvsCXjjw1DWSpA3w60V8HjBLnT80l2dFcjaWHQKAHPWW1fNKKKLrH"
    "8IvNwlVa/VPdwxXKsELk+IlAx2XfOugJcNIj580eofC248+w7mkvJfSA6k4I2JpPmnILlvgOC1BTJcJfTCmdad3WTf"
    "giJpdXBlSnmicVZnZkGoxX/QYMyXJktUm35HD42hxw5Eswu6JnJPOnvzUx1gYobP5ybncdaWypHcZE8bqlz4sVoSKu"
    "Bb0ddD3cS5v1ljregnStlPfIET29pPNY9B0kM96XyyGAnwZ/ttpwfjStV9VeLbY7XNzHCE6rELohRBUOr55Or3B/JV"
    "K5DFC1ijE+7qoJAQAY/7duOpWJqaPzgRuOdlC51/pHbioSmNyEbKIJs82aHBcnKcBjnCpRGTX6RAxp4j6tJ6tldSBQ"
    "pk+Y+tIIooPGUy3fS0h4Qtb3v1KziDnEDjChe07trsLPTw8TzFPYbzZDLJeKRoJ0k6JgFjpkmqiQ5xzjJjaF/TY9uc"
    "saWPTXfPu/sYGMO38585Rzv+ZHYVjn0nHcXTPU6Z0O5MqSu0wbJp79v4zW1Y5Jmds7u4TLRyBH83lmzi3YCAfoOIG9"
    "RJ4RzMDFrPG8yuELEwGLmBpNM/ITzAX9TJDtMDAHpKS2ZJYbTtV/w/IKrwIcyicyQtxugiOSlT+TT7tyS63CIyGMD5"
    "UWx7wwz5tUrl3BuNkYnLKuBEQbjxENwhaIOVPbZ1LCJ+TR7/1hfwK9U88wfQbEkaWe+PB/37Q0yGcl+BjaoFDxAZQt"
    "Z9y1T36FmKpWfdQhB7y6QyfD+rut94dFFyjFKjRUf2cQEBxYaimscoVcmrLNj6sALke5oJGhCeo6GUu99lOnviXvuZ"
    "GQ8BbFDrNfOt5mNtTi7nkBG3m8QpZoVhtsL5ARr57yj0USZ3igj9lHiXYDKSlQpSU/9pS9e5aDWWrd06IM5xrVsMIB"
    "8r6rVq8LnTUgeoYhpa0gBy7r6SioW/N/3FVFMGJfqYzPpbYELKGJUHkkbsF3RAJKXwDeGulSO6uJaGSBpzBrcKT2BJ"
    "GdL5oCFxvTUCigtqcc81kSSSEq5nTNAC8GK+xEqC09dyZMJg0NCFEt8VdV37dXR1ZVX4gmHQslyOBvfaZNldbDDQiv"
    "HzNr9QJLCTmG/2PNbXgNBQuU03OAEJ8CcBzVOauGfZ+n+mQ9c2IHUSCti/TMUKwcO8/7pIv9SZsJdHJuAdP7flNzcr"
    "TPZ8itUaRB2BwUrPC3oCsfcLeeSJ8GvdYcHpmDbblbqKvZMvXJA6IAILaT1Tbs0vsxDjveyY2NzhJZ4EUw2REer5uI"
    "28yBClgnYqrdR2o9wvj64nT0vBA1jb4Rzpyr4WT9LSiUaKstmuekpHzF+gfJBTb+TZwRhQrsmf9etFag3lWoBOsGvt"
    "3IO6hXNVIHqKdqm8qf8QO03wOi2QFnImnA+EUz3+EpeRsUi1fA2PTVSa3AiaqdPQMrtId02l32CITiWYHFoQXrhHj1"
    "cSIcUaFZWtbBwe42OvHC/jTi3vjM7iI5CqcrUd8XSkd0u0zUaZDEwhprd6gQbYhPy591MmL84Jf00mLcK3fYxUbKXV"
    "4BapW6ZJCymqcYI3abgHULgOVxBZT7TV/SWlbC7SNChTSKpV7BIVBdAD2RPT4+gOORdIwnMKhoGotxiQgQNcXzFPYM"
    "acUi4X8fMKeealMW7DDbpFumcrnTq9F14IX4wb1WM6/CSTECGBUDlv/praoCDoZEYa8wq8k45G5tTUQv2WGucOyG8a"
    "xdDJB/D7tg8b38xpdFoHWMHsqbd2/4CT2Sruw+/EqPoHhpUeIYbivOQXITI5PkVupsTq7fcAAxckOkxUWWF3ia/Q5e"
    "zx+QQWJFpidayuwdTf7vz9HC05PkdKV2JyidLk7AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwdKzg="
)
