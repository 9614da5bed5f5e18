from casflow.integrations.prefect_bundle import configure

configure("machines", launcher=["python"])
