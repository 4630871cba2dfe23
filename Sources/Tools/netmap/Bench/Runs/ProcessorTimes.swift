/// The CPU time of all processes since boot, from `/proc/stat`; see proc_stat(5).
struct ProcessorTimes: Equatable {
  /// Clock ticks, usually of 10 ms.
  struct Ticks: Equatable {
    /// Ticks of processes and of the kernel on behalf of processes, without interrupts.
    ///
    /// The kernel may count interrupts apart from the process whose packets cause them.
    var busy = 0
    /// Ticks in which the hypervisor ran something else although the CPU had work.
    var steal = 0

    init(busy: Int, steal: Int) {
      self.busy = busy
      self.steal = steal
    }

    /// Reads the fields user, nice, system, idle, iowait, irq, softirq and steal; nil when there are fewer than 4.
    fileprivate init?(_ fields: some Sequence<Substring>) {
      let ticks = fields.map { Int($0) ?? 0 }
      guard ticks.count > 3 else { return nil }
      busy = ticks[0] + ticks[1] + ticks[2]
      steal = ticks.count > 7 ? ticks[7] : 0
    }
  }

  /// The sum over all CPUs.
  let all: Ticks
  /// Each CPU that is online, by number.
  let cpus: [Int: Ticks]

  /// Reads the contents of `/proc/stat`; nil when the text has no CPUs.
  init?(stat text: String) {
    var total: Ticks?
    var cpus: [Int: Ticks] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard let name = words.first, name.hasPrefix("cpu"), let ticks = Ticks(words.dropFirst())
      else { continue }
      if name == "cpu" { total = ticks }
      if let number = Int(name.dropFirst(3)) { cpus[number] = ticks }
    }
    guard let sum = total, !cpus.isEmpty else { return nil }
    all = sum
    self.cpus = cpus
  }
}

/// The name and CPU time of a process, from `/proc/PID/stat`; see proc_pid_stat(5).
struct ProcessTimes: Equatable {
  let name: String
  /// Clock ticks of the process itself, without its children.
  let ticks: Int

  /// Reads the contents of `/proc/PID/stat`; nil when the text is not complete.
  init?(stat text: String) {
    // The name can contain spaces and parentheses.
    guard let start = text.firstIndex(of: "("), let end = text.lastIndex(of: ")"), start < end
    else { return nil }
    // The state is the first field after the name; utime and stime are the 12th and the 13th.
    let fields = text[text.index(after: end)...].split(separator: " ")
    guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else {
      return nil
    }
    name = String(text[text.index(after: start)..<end])
    ticks = user + system
  }
}
