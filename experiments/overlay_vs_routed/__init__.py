"""What a VXLAN overlay costs against routed pods, and routed pods against no pod network."""
