"""A camera made of FFmpeg's libraries: sends H264 and sound as RTP, or publishes them by RTSP, until its standard input ends. With
--hear it tells what PCMU it hears on a port."""

import argparse
import socket
import sys
import threading
import time

import av

import peers

COLOUR, PITCH = (200, 30, 30), 1000


def hear(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", port))
    heard = []
    while True:
        packet = s.recv(2000)
        if packet[1] & 0x7F == 0:
            heard.extend(peers.linear(b) for b in packet[12:])
        if len(heard) >= 4000:
            peers.say(heard=peers.hertz(heard, 8000))
            heard = []


def video_of(container, codec):
    v = container.add_stream(codec, rate=25)
    v.width, v.height, v.pix_fmt, v.bit_rate = 320, 240, "yuv420p", 300000
    v.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "25"}
    if codec == "libx264":
        v.options["profile"] = "baseline"
    if codec == "libvpx":
        v.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "25"}
    return v


def audio_of(container, codec):
    rate = 48000 if codec == "libopus" else 8000
    a = container.add_stream(codec, rate=rate)
    a.layout = "stereo" if codec == "libopus" else "mono"
    return a, rate


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rtsp")
    p.add_argument("--video")
    p.add_argument("--audio")
    p.add_argument("--codec", default="pcm_mulaw")
    p.add_argument("--picture", default="libx264")
    p.add_argument("--hear", type=int)
    args = p.parse_args()
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    if args.hear:
        threading.Thread(target=hear, args=(args.hear,), daemon=True).start()
    if args.rtsp:
        both = av.open(args.rtsp, "w", format="rtsp", options={"rtsp_transport": "tcp"})
        outs = [both]
        v, (a, rate) = video_of(both, args.picture), audio_of(both, args.codec)
        pair = {v: both, a: both}
    else:
        one, two = av.open(args.video, "w", format="rtp"), av.open(args.audio, "w", format="rtp")
        outs = [one, two]
        v, (a, rate) = video_of(one, args.picture), audio_of(two, args.codec)
        pair = {v: one, a: two}
    count = rate // 50
    began, pictures, sounds = time.monotonic(), 0, 0
    while not done.is_set():
        now = time.monotonic() - began
        if pictures / 25 <= now:
            frame = peers.picture(COLOUR, pictures)
            frame.pts = pictures
            pictures += 1
            for packet in v.encode(frame):
                pair[v].mux(packet)
        if sounds / 50 <= now:
            layout = "stereo" if rate == 48000 else "mono"
            data = peers.tone(PITCH, rate, sounds * count, count, 2 if rate == 48000 else 1)
            frame = peers.sound(data, rate, layout, sounds * count)
            sounds += 1
            for packet in a.encode(frame):
                pair[a].mux(packet)
        if sounds == 1:
            peers.say(sends=True)
        time.sleep(0.004)
    for out in outs:
        out.close()


main()
