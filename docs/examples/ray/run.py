import ray

from casflow.integrations.ray import pinned

ray.init(runtime_env=pinned("etl@prod"), log_to_driver=False)


@ray.remote
def load(number):
    from steps import ROWS

    return number * ROWS


print(sum(ray.get([load.remote(number) for number in range(4)])), "rows")
