from prefect import flow

from casflow.integrations.prefect import CasflowStorage

storage = CasflowStorage("etl@prod")
flow.from_source(storage, "flow.py:main").deploy("nightly", work_pool_name="machines")
