import Netmap
import Testing
import ToolSupport

@testable import PktGenCore

@Suite("Output, byte for byte")
struct OutputTests {
  @Test("a log line has seconds modulo 1000, a word, a number, and the message")
  func logLine() {
    let recorder = Recorder()
    let log = ToolLog(to: recorder.sink) { 1_700_000_012_003_456_789 }
    log("hello", function: "main_thread", line: 2781)
    log("again", function: "run(_:)", line: 1)
    #expect(
      recorder.text == "012.003456 main_thread [2781] hello\n012.003456 run [1] again\n")
  }

  @Test(
    "scaled values",
    arguments: [
      (0.0, "0.000 "), (999, "999.000 "), (1000, "1.000 K"), (14_880_952, "14.881 M"),
      (7.1425e9, "7.143 G"), (2e12, "2.000 T"), (3e15, "3000.000 T"),
    ])
  func scaled(_ row: (value: Double, text: String)) {
    #expect(UnitScaling.scaled(row.value) == row.text)
  }

  @Test("plain values keep the space")
  func plain() {
    #expect(UnitScaling.plain(14_880_952.4) == "14880952 ")
  }

  @Test("the periodic line")
  func periodic() {
    var report = RateReport(scaling: .scaled, framingBits: 0, showsStatistics: false)
    let tally = Tally(packets: 14_896_000, bytes: 893_760_000, events: 29904)
    #expect(
      report.message(tally, microseconds: 1_001_009, space: 99999)
        == "14.881 Mpps (14.896 Mpkts 7.143 Gbps in 1001009 usec) 498.13 avg_batch 99999 min_space")
    var plain = RateReport(scaling: .plain, framingBits: 192, showsStatistics: false)
    #expect(
      plain.message(
        Tally(packets: 1000, bytes: 60000, events: 10), microseconds: 1_000_000, space: 1)
        == "1000 pps (1000 pkts 672000 bps in 1000000 usec) 100.00 avg_batch 1 min_space")
  }

  @Test("mean and deviation come right after the rate, without samples of 0")
  func statistics() {
    var report = RateReport(scaling: .scaled, framingBits: 0, showsStatistics: true)
    func message(_ packets: UInt64) -> String {
      report.message(
        Tally(packets: packets, bytes: 0, events: 1), microseconds: 1_000_000, space: 0)
    }
    #expect(message(0).hasPrefix("0.000 pps [avg/std 0.000 /0.000  pps](0.000 pkts"))
    _ = message(1000)
    #expect(message(3000).hasPrefix("3.000 Kpps [avg/std 2.000 K/1.000 K pps](3.000 Kpkts"))
    for _ in 0..<15 { _ = message(5000) }
    #expect(message(5000).hasPrefix("5.000 Kpps [avg/std 5.000 K/0.000  pps]("))
  }

  @Test("the last lines")
  func final() {
    let tally = Tally(packets: 14_881_000, bytes: 892_860_000, events: 29875)
    let report = FinalReport(tally, seconds: 1, framingBits: 192)
    #expect(
      report.lines("Sent", .scaled) == [
        "Sent 14881000 packets 892860000 bytes 29875 events 60 bytes each in 1.00 seconds.",
        "Speed: 14.881 Mpps Bandwidth: 7.143 Gbps (raw 10.000 Gbps). Average batch: 498.11 pkts",
      ])
    #expect(
      FinalReport(Tally(packets: 1000, bytes: 1), seconds: 2, framingBits: 0)
        .lines("Received", .plain) == [
          "Received 1000 packets 1 bytes 0 events 0 bytes each in 2.00 seconds.",
          "Speed: 500 pps Bandwidth: 4 bps (raw 4 bps). Average batch: 0.00 pkts",
        ])
    #expect(
      FinalReport(Tally(), seconds: 1, framingBits: 0).lines("Sent", .scaled) == ["Sent nothing."])
  }

  @Test("the size and interval of batches at a rate")
  func bursts() {
    #expect(BurstPlan(burst: 512, rate: 1000).text == "Sending 3 packets every  0.003000000 s")
    #expect(BurstPlan(burst: 512, rate: 0).text == "Sending 512 packets every  0.000000000 s")
    #expect(BurstPlan(burst: 512, rate: 1).text == "Sending 1 packets every  1.000000000 s")
    #expect(BurstPlan(burst: 4, rate: 1_000_000).burst == 4)
    #expect(BurstPlan(burst: 512, rate: 299).burst == 1)
    // The rounding errors do not add up: a billion packets at 3 per second.
    let slow = BurstPlan(burst: 1, rate: 3)
    #expect(slow.time(ofPacket: 3_000_000_000) == 1_000_000_000 * 1_000_000_000)
  }

  @Test("a packet in hexadecimal and ASCII, the short last row as well")
  func dump() {
    let slot = Slot(bufferIndex: 1026, length: 18, flags: .report)
    let bytes = (0..<18).map { UInt8(0x40 + $0) }
    #expect(
      PacketDump.text(bytes, slot, ring: 1, at: 7) == """
        ring 1 cur     7 [buf   1026 flags 0x0002 len    18]
            0: 40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f @ABCDEFGHIJKLMNO
           16: 50 51                                           PQ

        """)
    let row = PacketDump.text([0, 0x7f], slot, ring: 0, at: 0).split(separator: "\n")[1]
    #expect(row.dropFirst(55) == "..")
  }

  @Test("round trips: the second, the buckets, the end")
  func roundTrips() {
    var trips = RoundTrips()
    #expect(trips.takeSecond() == ["count 0 RTT: min 0 av 0 ns"])
    for _ in 0..<4 { _ = trips.send() }
    trips.receive(0, after: 1000)
    trips.receive(1, after: 3000)
    trips.receive(1, after: 3000)
    trips.receive(77, after: 1)
    #expect(
      trips.takeSecond() == [
        "count 2 RTT: min 1000 av 2000 ns", "k: 512 .. 2048\n\t     1     0     1",
      ])
    trips.receive(2, after: 5000)
    #expect(trips.finalMessage == "RTT over 3 packets: min 1000 av 3000 ns")
    #expect(trips.summary.lost == 1)
    #expect(trips.summary.duplicates == 1)
    #expect(trips.summary.foreign == 1)
    #expect(trips.summary.maximum == 5000)
  }

  @Test("a JSON object quotes what must be quoted")
  func json() {
    var json = JSONLine()
    json.add("a\"b", "c\\\n")
    json.add("n", 1)
    json.add("x", Double.nan)
    json.add("t", true)
    #expect(json.text == #"{"a\"b":"c\\\u000a","n":1,"x":null,"t":true}"#)
  }
}
