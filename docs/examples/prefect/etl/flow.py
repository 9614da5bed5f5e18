from prefect import flow
from steps import ROWS


@flow(log_prints=True)
def main():
    print("loaded", ROWS, "rows")
