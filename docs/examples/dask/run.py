from distributed import Client

from casflow.integrations.dask_tree import CasflowPlugin


def load(number):
    from steps import ROWS

    return number * ROWS


if __name__ == "__main__":
    with Client(n_workers=2, threads_per_worker=1) as client:
        client.register_plugin(CasflowPlugin("etl@prod"))
        print(sum(client.gather(client.map(load, range(4)))), "rows")
