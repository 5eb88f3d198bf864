import sys
from test_faults import *
with faulty() as (s, faults, backend):
    a=s.address(); level=Level(s,a)
    for every in (3,4,5,6,7):
     for k in range(30):
      faults.clear(); faults.set("send", ENOBUFS, every)
      for w in works(1):
        try: print(every, w.target, w.run(a))
        except AssertionError as e:
            print("HANG", every, w.target, e, log(s)[-1], backend.requests[-1], backend.partial, backend.open)
            import subprocess
            print(subprocess.run(["ss","-tnp"],stdout=subprocess.PIPE,universal_newlines=True).stdout)
            faults.clear()
            raise
