from prefect import flow
from prefect.flows import bind_flow_to_infrastructure
from prefect.workers.process import ProcessWorker


@flow(log_prints=True)
def adhoc():
    with open("etl/steps.py") as file:
        print("sent along:", file.read())


files = ["etl/"]
bound = bind_flow_to_infrastructure(adhoc, "machines", ProcessWorker, include_files=files)
bound.submit_to_work_pool()
