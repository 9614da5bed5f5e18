import fsspec
import pandas as pd
from pyarrow import dataset

print(len(pd.read_csv("casflow://etl@prod/data/rates.csv")), "rates")

files = fsspec.filesystem("casflow")
print(files.glob("etl@prod/**/*.csv"))
print(dataset.dataset("etl@prod/data", format="csv", filesystem=files).count_rows(), "rows")
files.get("etl@prod/data", "copy", recursive=True)
