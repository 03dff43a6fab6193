"""What is made to be looked at: charts of runs, diagrams of networks."""
