"""Every tunnel and every routed mode: what each puts on the wire, and what each packet costs."""
