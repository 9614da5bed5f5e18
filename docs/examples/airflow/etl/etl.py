from airflow.sdk import dag, task
from steps import ROWS


@dag(schedule=None)
def etl():
    @task
    def load():
        print("loaded", ROWS, "rows")

    load()


etl()
