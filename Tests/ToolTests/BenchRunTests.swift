internal import Testing

@testable import netmap

@Suite("netmap bench: statistics, conditions and CSV lines of runs")
struct BenchRunTests {
  @Test("the median, the extremes and the interquartile range of several values")
  func statistics() throws {
    let odd = try #require(RunStatistics([3, 1, 2]))
    #expect(odd.median == 2 && odd.minimum == 1 && odd.maximum == 3)
    #expect(odd.interquartileRange == 1 && odd.spreadPercent == 50)
    let even = try #require(RunStatistics([4, 3, 2, 1]))
    #expect(even.median == 2.5 && even.interquartileRange == 1.5 && even.spreadPercent == 60)
    let one = try #require(RunStatistics([.nan, 7, .infinity]))
    #expect(one.median == 7 && one.minimum == 7 && one.maximum == 7 && one.spreadPercent == 0)
    let zeros = try #require(RunStatistics([0, 0, 0, 4]))
    #expect(zeros.median == 0 && zeros.spreadPercent.isNaN)
    #expect(RunStatistics([]) == nil)
    #expect(RunStatistics([.nan]) == nil)
  }

  @Test("quotes CSV fields as RFC 4180 does")
  func csvQuoting() {
    #expect(CSVLine.text(["a", "", "b c", "1.5"]) == "a,,b c,1.5")
    #expect(CSVLine.text(["a,b", "say \"x\""]) == "\"a,b\",\"say \"\"x\"\"\"")
    #expect(CSVLine.text(["two\nlines", "\r\n"]) == "\"two\nlines\",\"\r\n\"")
  }

  @Test(
    "times are ISO 8601 in UTC",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (1_795_958_405_123, "2026-11-29T13:20:05.123Z"),
      (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
      (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ] as [(UInt64, String)])
  func time(milliseconds: UInt64, text: String) {
    #expect(UTCTime.text(milliseconds: milliseconds) == text)
  }

  @Test("reads the CPU times of the machine")
  func processorTimes() throws {
    let text = """
      cpu  100 20 30 4000 50 6 7 8 9 0
      cpu0 60 10 20 2000 25 3 4 5 4 0
      cpu10 40 10 10 2000 25 3 3 3 5 0
      intr 12345 0 0
      ctxt 678
      cpufreq is not a CPU

      """
    let times = try #require(ProcessorTimes(stat: text))
    #expect(times.all == ProcessorTimes.Ticks(busy: 150, steal: 8))
    #expect(Set(times.cpus.keys) == [0, 10])
    #expect(times.cpus[10] == ProcessorTimes.Ticks(busy: 60, steal: 3))
    // Linux before 2.6.11 had no steal time.
    let old = try #require(ProcessorTimes(stat: "cpu 1 2 3 4\ncpu0 1 2 3 4\n"))
    #expect(old.all == ProcessorTimes.Ticks(busy: 6, steal: 0))
    for text in ["", "intr 1\n", "cpu 1 2\ncpu0 1 2\n", "cpu 1 2 3 4\n"] {
      #expect(ProcessorTimes(stat: text) == nil, "\(text)")
    }
  }

  @Test("reads the CPU time of a process, whatever its name is")
  func processTimes() throws {
    let text = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 7 8\n"
    let times = try #require(ProcessTimes(stat: text))
    #expect(times.name == "a b) c")
    #expect(times.ticks == 300)
    for text in ["", "42", "42 (netmapd", "42 (netmapd) S 1 2", ")("] {
      #expect(ProcessTimes(stat: text) == nil, "\(text)")
    }
  }

  @Test("reads the involuntary context switches of a thread")
  func involuntarySwitches() {
    let text = "Name:\tnetmap\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t345\n"
    #expect(PreemptionCount.involuntarySwitches(status: text) == 345)
    #expect(PreemptionCount.involuntarySwitches(status: "Name:\tnetmap\n") == 0)
  }

  private func conditions(
    _ change: (inout RunConditions) -> Void
  ) -> [RunConditions.Disturbance.Kind] {
    var conditions = RunConditions(seconds: 1)
    conditions.loadAverage = 0.5
    conditions.stolenSeconds = 0
    conditions.otherSeconds = 0.01
    conditions.preemptions = 30
    conditions.cacheLineNanoseconds = 130
    conditions.firstCacheLineNanoseconds = 140
    change(&conditions)
    return conditions.disturbances.map(\.kind)
  }

  @Test("a quiet run is not disturbed, and unknown conditions do not disturb")
  func quiet() {
    #expect(conditions { _ in } == [])
    // The load average includes the bench itself.
    #expect(conditions { $0.loadAverage = 50 } == [])
    #expect(RunConditions(seconds: 1).disturbances.isEmpty)
    #expect(RunConditions(seconds: 0).disturbances.isEmpty)
  }

  @Test("a run is disturbed from the limits on")
  func limits() {
    // 2 CPUs and 1 second: 1 % are 20 ms, 3 % are 60 ms.
    #expect(conditions { $0.stolenSeconds = 0.019 } == [])
    #expect(conditions { $0.stolenSeconds = 0.021 } == [.stolenTime])
    #expect(conditions { $0.otherSeconds = 0.059 } == [])
    #expect(conditions { $0.otherSeconds = 0.061 } == [.otherProcesses])
    #expect(conditions { $0.preemptions = 99 } == [])
    #expect(conditions { $0.preemptions = 100 } == [.preemptions])
    #expect(conditions { $0.cacheLineNanoseconds = 480 } == [.cacheLine])
    #expect(conditions { $0.cacheLineNanoseconds = 90 } == [.cacheLine])
    #expect(conditions { $0.cacheLineNanoseconds = 200 } == [])
    #expect(
      conditions {
        $0.stolenSeconds = 1
        $0.preemptions = 1000
      } == [.stolenTime, .preemptions])
  }

  @Test("a short run is not disturbed by one tick of a counter")
  func shortRun() {
    #expect(
      conditions {
        $0.seconds = 0.1
        $0.stolenSeconds = 0.01
        $0.otherSeconds = 0.02
        $0.preemptions = 19
      } == [])
  }

  @Test("preemptions do not count where the measured work causes them")
  func ownPreemptions() {
    #expect(
      conditions {
        $0.preemptions = 1000
        $0.judgesPreemptions = false
      } == [])
    func judges(_ name: Measurement.Case, _ cpus: (Int, Int) = (0, 1)) -> Bool {
      RunConditions.judgesPreemptions(
        of: Measurement(name: name, batch: 1, payload: .untouched), on: cpus)
    }
    #expect(judges(.pipeTwoThreads) && judges(.null) && judges(.valeTwoProcesses))
    #expect(!judges(.pipeTwoThreads, (0, 0)) && judges(.valeOneThread, (0, 0)))
    #expect(!judges(.xdpCopyReceive) && !judges(.valeManyToOne) && !judges(.isolatedPipe))
  }

  @Test("finds the interfaces with default routes")
  func defaultRoutes() {
    let ipv4 = """
      Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
      eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
      eth1\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
      eth2\t00000000\t00000000\t0001\t0\t0\t0\t000000E0\t0\t0\t0

      """
    let zeros = String(repeating: "0", count: 32)
    let counters = "00000400 00000001 00000000 00000003"
    let ipv6 = """
      \(zeros) 00 \(zeros) 00 fe80\(zeros.dropFirst(4)) \(counters)     eth3
      fe80\(zeros.dropFirst(4)) 40 \(zeros) 00 \(zeros) \(counters)     eth4
      \(zeros) 00 \(zeros) 00 \(zeros) ffffffff 00000001 00000000 00200200       lo

      """
    #expect(DefaultRoutes.interfaces(ipv4: ipv4, ipv6: ipv6) == ["eth0", "eth3"])
    #expect(DefaultRoutes.interfaces(ipv4: "", ipv6: "").isEmpty)
  }

  /// A run of half a million packets.
  private func run(_ number: Int, seconds: Double, cacheLine: Double) -> BenchRun {
    var conditions = RunConditions(seconds: seconds)
    conditions.loadAverage = 0.25
    conditions.cacheLineNanoseconds = cacheLine
    conditions.firstCacheLineNanoseconds = 100
    let result = BenchResult(
      measurement: Measurement(name: .pipeTwoThreads, batch: 32, payload: .touched),
      packets: 500_000, seconds: seconds, systemCalls: nil)
    return BenchRun(
      result: result, conditions: conditions, number: number, time: "2026-11-29T13:20:05.123Z")
  }

  @Test("a CSV line has the parameters, the number, the run and whether it was disturbed")
  func csvLines() {
    let lines = CSVOutput.lines(of: run(3, seconds: 0.5, cacheLine: 200))
    let parameters = "pipe-2t,pipe,embedded,both,60,32,touched,,"
    let end = "3,2026-11-29T13:20:05.123Z,true"
    #expect(lines.contains("\(parameters),mpps,Mpps,1.0,\(end)"))
    #expect(lines.contains("\(parameters),packets,packets,500000,\(end)"))
    // A number that is not known.
    #expect(lines.contains("\(parameters),syscallsPerPacket,calls/packet,,\(end)"))
    #expect(lines.contains("\(parameters),cacheLineNs,ns,200.0,\(end)"))
    for line in lines {
      let fields = line.split(separator: ",", omittingEmptySubsequences: false)
      #expect(fields.count == CSVOutput.columns.count)
    }
  }

  @Test("a series reports medians, and counts disturbed runs")
  func series() {
    let first = run(1, seconds: 0.5, cacheLine: 100)
    var series = RunSeries(first.result.measurement)
    series.runs = [first]
    #expect(series.disturbedRuns == 0 && series.disturbance == "")
    #expect(!series.json(on: Machine()).contains("\"statistics\""))
    series.runs += [run(2, seconds: 1, cacheLine: 300), run(3, seconds: 2, cacheLine: 310)]
    #expect(series.disturbedRuns == 2)
    // A disturbance of each kind is enough.
    let reason = "a cache-line round trip took 300 ns, before the first run 100 ns"
    #expect(series.disturbance == reason)
    let rate = series.summaries.first
    #expect(rate?.number.key == "mpps" && rate?.number.value == 0.5)
    #expect(rate?.statistics?.minimum == 0.25 && rate?.statistics?.maximum == 1)
    let text = series.json(on: Machine())
    #expect(text.contains("\"mpps\":0.5,"))
    #expect(text.contains("\"packets\":500000,"))
    #expect(text.contains("\"runs\":3,\"disturbedRuns\":2,\"disturbed\":true,"))
    #expect(text.contains("\"mpps\":{\"median\":0.5,\"min\":0.25,\"max\":1.0,\"spreadPercent\":"))
    #expect(text.contains("\"syscallsPerPacket\":{\"median\":null,"))
  }
}
