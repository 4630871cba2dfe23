internal import ArgumentParser
internal import Glibc
internal import NetmapCore
internal import NetmapLinuxSetup
internal import ToolSupport

/// `netmap doctor`: says how interfaces are, and which backend would drive them.
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract:
      "Say which backend network interfaces would get, why not a better one, and what would help.",
    discussion: """
      For each interface of this network namespace, or for those that are named: its driver, queues and offloads, \
      the programs attached to it, the backend and mode that an open would get, why better ones would be refused, whether \
      host rings would work, and what would help. Nothing is opened or attached, so traffic goes on. What only an open can \
      tell, such as whether another program has the queues, is not checked.

      --repair removes what killed processes have left on interfaces, in every network namespace that this process can \
      see: filters of kernels before 6.6. Later kernels remove everything themselves. It is what netmapd --undo does.

      --json prints one object per interface and line: interface, index, up, mtu, driver, rx_queues, tx_queues, offloads, \
      xdp_programs, ingress_programs, egress_programs, backend, candidates with their refusals, host_rings, and advice.

      EXAMPLES
        netmap doctor eth0
        netmap doctor --json
        sudo netmap doctor --repair
      """)

  @Flag(help: "Print one JSON object for each interface.")
  var json = false

  @Flag(help: "Remove what killed processes have left on interfaces.")
  var repair = false

  @Argument(help: "The interfaces; all of them by default.")
  var interfaces: [String] = []

  func validate() throws {
    if repair && (json || !interfaces.isEmpty) {
      throw ValidationError("--repair excludes --json and names of interfaces")
    }
  }

  func run() throws {
    if repair { return OwnInterfaceRights.undoStaleEverywhere() }
    var hasFailed = false
    for name in interfaces.isEmpty ? InterfaceExamination.interfaces : interfaces {
      do throws(NetmapError) {
        let report = try InterfaceExamination(of: name)
        print(json ? Self.line(report) : Self.text(report))
      } catch {
        printError("netmap doctor: \(error)")
        hasFailed = true
      }
    }
    if hasFailed { throw ExitCode.failure }
  }

  private static func text(_ report: InterfaceExamination) -> String {
    var lines = [
      "\(report.name): driver \(report.driver ?? "unknown"), \(report.isUp ? "up" : "down"), MTU \(report.mtu),"
        + " \(report.receiveQueues) receive and \(report.transmitQueues) transmit queues"
    ]
    if !report.offloads.isEmpty {
      let offloads = report.offloads.map { "\($0.name) \($0.isOn ? "on" : "off")" }
      lines.append("  offloads: \(offloads.joined(separator: ", "))")
    }
    var programs = report.xdpPrograms.map { "XDP program \($0)" }
    if report.ingressPrograms > 0 { programs.append("\(report.ingressPrograms) at tc ingress") }
    if report.egressPrograms > 0 { programs.append("\(report.egressPrograms) at tc egress") }
    lines.append("  programs: \(programs.isEmpty ? "none" : programs.joined(separator: ", "))")
    lines.append("  backend: \(report.choice?.title ?? "none")")
    for candidate in report.candidates {
      if candidate.title == report.choice?.title { break }
      guard let refusal = candidate.refusal else { continue }
      lines.append("    not \(candidate.title): \(refusal.reason)")
    }
    if let refusal = report.hostRingRefusal {
      lines.append("  host rings: no: \(refusal.reason)")
    } else {
      lines.append(
        "  host rings: \(report.choiceWithHostRings.map { "yes, with \($0.title)" } ?? "no")")
    }
    for advice in report.advice { lines.append("  advice: \(advice)") }
    return lines.joined(separator: "\n")
  }

  private static func line(_ report: InterfaceExamination) -> String {
    var line = JSONLine()
    line.add("interface", report.name)
    line.add("index", report.index)
    line.add("up", report.isUp)
    line.add("mtu", report.mtu)
    line.add("driver", report.driver ?? "")
    line.add("rx_queues", report.receiveQueues)
    line.add("tx_queues", report.transmitQueues)
    var offloads = JSONLine()
    for offload in report.offloads { offloads.add(offload.name, offload.isOn) }
    line.add("offloads", offloads)
    line.add("xdp_programs", report.xdpPrograms.map { "\($0)" })
    line.add("ingress_programs", report.ingressPrograms)
    line.add("egress_programs", report.egressPrograms)
    line.add("backend", report.choice?.title ?? "")
    line.add(
      "candidates",
      report.candidates.map { candidate -> JSONLine in
        var line = JSONLine()
        line.add("name", candidate.title)
        line.add("refusal", candidate.refusal?.reason ?? "")
        return line
      })
    var host = JSONLine()
    host.add("backend", report.choiceWithHostRings?.title ?? "")
    host.add("refusal", report.hostRingRefusal?.reason ?? "")
    line.add("host_rings", host)
    line.add("advice", report.advice)
    return line.text
  }
}
