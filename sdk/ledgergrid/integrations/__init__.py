"""Recording every call of a model, without a proxy: signed by the agent's own key.

One module for each library, imported only by those who have it. None of them needs more than what
``ledgergrid[llm]`` installs: the libraries themselves are recognised by what they can do.
"""
