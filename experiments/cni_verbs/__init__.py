"""What the verbs of CNI take, pod by pod, with the real binaries."""
