internal import Netmap
internal import ToolSupport

/// The JSON object that `--json` prints at the end, on one line.
struct FinalObject {
  let json: JSONLine

  init(
    _ configuration: Configuration, _ final: FinalReport, drops: DropTotals, findings: [Findings],
    failedThreads: Int
  ) {
    var json = JSONLine()
    json.add("function", configuration.mode.rawValue)
    json.add("port", configuration.interface.text)
    json.add("threads", configuration.threads)
    json.add("failed_threads", failedThreads)
    json.add("packets", final.tally.packets)
    json.add("bytes", final.tally.bytes)
    json.add("events", final.tally.events)
    json.add("seconds", final.seconds)
    json.add("seconds_span", "earliest thread start to latest thread end")
    json.add("packets_per_second", final.packetRate)
    json.add("bits_per_second", final.bitRate)
    json.add("raw_bits_per_second", final.rawBitRate)
    json.add("average_batch", final.averageBatch)
    for finding in findings {
      switch finding {
      case .none: break
      case .roundTrips(let summary): json.add("round_trips", Self.object(summary))
      case .sequence(let summary): json.add("sequence", Self.object(summary))
      }
    }
    json.add("transmit_drops", drops.transmit)
    json.add("receive_drops", drops.receive)
    self.json = json
  }

  private static func object(_ summary: RoundTripSummary) -> JSONLine {
    var json = JSONLine()
    json.add("sent", summary.sent)
    json.add("replies", summary.replies)
    json.add("lost", summary.lost)
    json.add("duplicates", summary.duplicates)
    json.add("foreign", summary.foreign)
    json.add("minimum_ns", summary.minimum)
    json.add("average_ns", summary.average)
    json.add("maximum_ns", summary.maximum)
    return json
  }

  private static func object(_ summary: SequenceSummary) -> JSONLine {
    var json = JSONLine()
    json.add("gaps", summary.gaps)
    json.add("missing", summary.missing)
    json.add("out_of_order", summary.outOfOrder)
    json.add("too_short", summary.tooShort)
    json.add("fragment_changes", summary.fragmentChanges)
    return json
  }
}

/// Packets that the ports dropped during a run, by reason.
struct DropTotals {
  private var transmitDrops = DropCounters()
  private var receiveDrops = DropCounters()

  /// - Parameters:
  ///   - ports: The statistics of each port at the end.
  ///   - start: Their statistics at the start, in the same order: rings also count the drops of earlier runs.
  init(_ ports: [PortStatistics], since start: [PortStatistics]) {
    for (port, start) in zip(ports, start) {
      Self.add(port.transmit.drops, since: start.transmit.drops, to: &transmitDrops)
      Self.add(port.receive.drops, since: start.receive.drops, to: &receiveDrops)
    }
  }

  private static func add(
    _ drops: DropCounters, since start: DropCounters, to sum: inout DropCounters
  ) {
    for reason in DropReason.allCases where drops[reason] > start[reason] {
      sum[reason] &+= drops[reason] - start[reason]
    }
  }

  /// A message for the user about drops.
  ///
  /// - Parameter role: Selects the direction to report.
  /// - Returns: Nil when no packet was dropped.
  func remark(for role: Role) -> String? {
    let drops: DropCounters
    switch role {
    case .sender: drops = transmitDrops
    case .receiver: drops = receiveDrops
    case .other: return nil
    }
    guard drops.total > 0 else { return nil }
    let reasons = DropReason.allCases.filter { drops[$0] > 0 }.map { "\(drops[$0]) \($0.name)" }
    return "\(drops.total) packets were dropped: \(reasons.joined(separator: ", "))"
  }

  var transmit: JSONLine { Self.object(transmitDrops) }
  var receive: JSONLine { Self.object(receiveDrops) }

  private static func object(_ drops: DropCounters) -> JSONLine {
    var json = JSONLine()
    for reason in DropReason.allCases { json.add(reason.name, drops[reason]) }
    return json
  }
}
