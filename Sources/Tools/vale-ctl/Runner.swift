internal import Glibc
internal import Netmap
internal import ToolSupport

/// Performs the action of the command line.
struct Runner {
  let options: Options
  let output: TextSink
  let errors: TextSink

  private let engine = HostEngine.shared
  var switches: Switches { engine.switches }

  init(options: Options, output: TextSink, errors: TextSink) {
    self.options = options
    self.output = output
    self.errors = errors
  }

  /// - Returns: The exit status.
  func run(_ action: Action) -> CInt {
    let (verb, name) = Self.words(action)
    do throws(NetmapError) {
      try perform(action)
    } catch {
      let reason = unsafe String(cString: strerror(error.code.rawValue))
      errors.line("failed to \(verb) \(name): \(reason)")
      errors.line("  \(error.reason)" + (error.remedy.isEmpty ? "" : "; \(error.remedy)"))
      return 1
    }
    // netmap's own vale-ctl exits with 1 after a listing; scripts may rely on that.
    let wantsTradition = unsafe getenv("NETMAP_COMPAT_EXIT") != nil
    return action == .list && wantsTradition ? 1 : 0
  }

  private static func words(_ action: Action) -> (verb: String, name: String) {
    switch action {
    case .list: ("list", "ports")
    case .attach(let name, _): ("attach", name)
    case .detach(let name): ("detach", name)
    case .create(let name): ("create", name)
    case .remove(let name): ("remove", name)
    case .find(let name): ("list", name)
    case .information(let name): ("obtain info for", name)
    case .polling(let name, let isOn): ("\(isOn ? "enable" : "disable") polling on", name)
    case .showModule(let name): ("show the module of", name)
    case .setModule(let text): ("set the module of", text)
    case .removeModule(let name): ("remove the module of", name)
    }
  }

  private func perform(_ action: Action) throws(NetmapError) {
    switch action {
    case .list: try list()
    case .attach(let text, let withHost):
      let name = text.prefix { $0 != "@" }
      // The options are those of any port name, whatever the name.
      let chosen = try PortSpecification.parse("netmap:port\(text.dropFirst(name.count))")
      let entry = try switches.attach(
        try PortName(String(name)), memoryID: try memoryID(), withHostRings: withHost,
        backpressure: chosen.backpressure, backend: chosen.backend)
      for remark in entry.remarks { errors.line("note: \(remark)") }
      show(entry, ["port_index": entry.portIndex])
    case .detach(let name):
      let entry = try switches.detach(try PortName(name))
      show(entry, ["port_index": entry.portIndex])
    case .create(let name):
      let configuration = RingConfiguration(options.configuration ?? "")
      for word in configuration.ignored { errors.line("ignored in -C: \(word)") }
      let port = try switches.create(
        try PortName(name), configuration.hints, memoryID: try memoryID())
      if options.isVerbose || options.isJSON { show(port, name, lastLabel: "rx_ring:") }
    case .remove(let name): try switches.remove(try PortName(name))
    case .find(let name):
      let entry = try switches.find(try PortName(name))
      if options.isJSON { return output.line(json(entry).text) }
      output.line("bridge_idx: \(entry.switchIndex)")
      output.line("port_idx:   \(entry.portIndex)")
    case .information(let name):
      show(try switches.information(on: try PortName(name)), name, lastLabel: nil)
    case .polling(let name, true):
      try switches.poll(
        try PortName(name), on: try PollingConfiguration.read(options.configuration, for: name))
    case .polling(let name, false): try switches.stopPolling(try PortName(name))
    case .showModule(let name): show(try switches.module(of: name), of: name)
    case .setModule(let text): try setModule(text)
    case .removeModule(let name):
      let report = try switches.setModule(.learning, of: name)
      if options.isVerbose || options.isJSON { show(report, of: name) }
    }
  }

  /// `-m`: a number, or the memory region of a port.
  private func memoryID() throws(NetmapError) -> UInt16 {
    guard let text = options.memory else { return 0 }
    if let number = UInt16(text) { return number }
    let name = text.hasPrefix("netmap:") ? String(text.dropFirst(7)) : text
    return try switches.information(on: try PortName(name)).memoryID
  }

  private func list() throws(NetmapError) {
    let entries = try switches.all()
    let counters = options.showsCounters ? try engine.traffic() : [:]
    for entry in entries {
      // A persistent port is open under its own name, whatever switch it is attached to.
      let own = entry.name.split(separator: ":", maxSplits: 1).last.map(String.init)
      let traffic = counters[entry.name] ?? own.flatMap { counters[$0] }
      if options.isJSON {
        var line = json(entry)
        if options.showsCounters { line.add("open", traffic != nil) }
        for (name, value) in (traffic?.fields ?? []) + (traffic?.details ?? []) {
          line.add(name, value)
        }
        output.line(line.text)
        continue
      }
      var text = "\(entry.name) bridge_idx \(entry.switchIndex) port_idx \(entry.portIndex)"
      for (name, value) in traffic?.fields ?? [] { text += " \(name) \(value)" }
      for (name, value) in traffic?.details ?? [] where value > 0 { text += " \(name) \(value)" }
      output.line(text)
    }
  }

  private func json(_ entry: Switches.Entry) -> JSONLine {
    var line = JSONLine()
    line.add("name", entry.name)
    line.add("bridge_idx", entry.switchIndex)
    line.add("port_idx", entry.portIndex)
    return line
  }

  /// Prints the result of an action, if `-v` or `--json` asks for it.
  private func show(_ entry: Switches.Entry, _ values: [String: Int]) {
    if options.isJSON { return output.line(json(entry).text) }
    guard options.isVerbose else { return }
    for (name, value) in values { output.line("\(name): \(value)") }
  }

  /// Prints rings and memory.
  ///
  /// netmap's own vale-ctl has two labels for the receive rings. Without a label this also prints the memory's
  /// size.
  private func show(_ port: Switches.Information, _ name: String, lastLabel: String?) {
    let geometry = port.geometry
    if options.isJSON {
      var line = JSONLine()
      line.add("name", name)
      line.add("memsize", port.memorySize)
      line.add("tx_slots", geometry.transmitSlots)
      line.add("rx_slots", geometry.receiveSlots)
      line.add("tx_rings", geometry.transmitRings)
      line.add("rx_rings", geometry.receiveRings)
      line.add("mem_id", port.memoryID)
      return output.line(line.text)
    }
    if lastLabel == nil { row("memsize:", port.memorySize) }
    row("tx_slots:", geometry.transmitSlots)
    row("rx_slots:", geometry.receiveSlots)
    row("tx_rings:", geometry.transmitRings)
    row(lastLabel ?? "rx_rings", geometry.receiveRings)
    row("mem_id:", Int(port.memoryID))
  }

  /// Prints a label, and a value in column 13 or after a longer label.
  func row(_ label: String, _ value: some CustomStringConvertible) {
    output.line("\(label) ".left(12) + "\(value)")
  }
}
