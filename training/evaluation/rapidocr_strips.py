"""Read strips with RapidOCR; run by an interpreter that has it (`make bench` makes one).

`rapidocr-onnxruntime` brings another build of OpenCV, which would overwrite ours in a shared
environment. Reads image paths from stdin, one a line; writes one JSON object a line:
`{"text": str, "confidence": float, "milliseconds": float}`. Recognition only: each image is one
line of text.
"""

import json
import sys
import time

import cv2
from rapidocr_onnxruntime import RapidOCR


def main() -> None:
    cv2.setNumThreads(1)
    engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
    for line in sys.stdin:
        image = cv2.imread(line.strip())
        start = time.perf_counter()
        result = None
        if image is not None:
            result, _ = engine(image, use_det=False, use_cls=False, use_rec=True)
        milliseconds = (time.perf_counter() - start) * 1000
        text, confidence = (result[0][0], float(result[0][1])) if result else ("", 0.0)
        answer = {"text": text, "confidence": confidence, "milliseconds": milliseconds}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
