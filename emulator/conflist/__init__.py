"""CNI as the specification has it, without a machine: what is asked of which binary, and what
its answers mean.

``reading`` and ``model`` (a conflist, checked), ``requests`` (environment and standard input of
an invocation), ``results`` (what binaries answer, in every version of the protocol), ``chain``
(the verbs: which binary comes next, given what the last one said), ``records`` (what is kept of
an attachment so that it can be undone).

Faithful: versions 0.3.0 to 1.1.0 of the protocol; ADD in order and DEL in reverse, CHECK from
0.4.0, STATUS and GC from 1.1.0; ``prevResult``, ``runtimeConfig`` from capabilities, error
objects. Not modelled: plugin files beside a conflist (``loadOnlyInlinedPlugins``), single plugin
configurations of versions below 0.3.0.
"""
