"""The mathematics of analyses: functions of arrays, tensors and modules, which know no spec, run or chart."""
