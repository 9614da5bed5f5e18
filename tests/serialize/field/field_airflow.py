"""Graphs as people of Airflow write them."""

from datetime import datetime, timedelta

from airflow.models.baseoperator import BaseOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Variable, dag, task

from helpers_beside import chunked

default_args = {"owner": "data", "retries": 2, "retry_delay": timedelta(minutes=5)}


def extract(ds=None, **context):
    return chunked([ds, context.get("run_id")])


def on_failure(context):
    return context["exception"]


def setting(name):
    return Variable.get(name, default=None)


with DAG(
    "etl", start_date=datetime(2024, 1, 1), schedule="@daily", default_args=default_args
) as etl:
    first = PythonOperator(task_id="extract", python_callable=extract, op_kwargs={"n": 1})
    second = BashOperator(task_id="say", bash_command="echo {{ ds }}")
    first >> second


class Loader(BaseOperator):
    template_fields = ("table",)

    def __init__(self, table, **kwargs):
        super().__init__(**kwargs)
        self.table = table

    def execute(self, context):
        return self.table


@task(retries=1)
def add(a, b=1):
    return a + b


@task.short_circuit
def check(n):
    return n > 0


@dag(schedule=None, start_date=datetime(2024, 1, 1), tags=["x"])
def made():
    check(add(1))


CASES = {
    "extract": "x('d')",
    "on_failure": "x({'exception': 1})",
    "setting": "x.__name__",
    "add": "x.function(1)",
    "check": "x.function(1)",
    "Loader": "x.template_fields",
    "made": "x.__name__",
    "first": "x.task_id",
    "etl": "sorted(x.task_ids)",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
