internal import Glibc
internal import NetmapCore
internal import NetmapLinux
internal import Synchronization

/// The veth short cuts of an engine: for each veth of which it drives an end by AF_XDP, the memory through which the two
/// ends can be joined.
///
/// Any thread may call it.
final class ShortCuts: Sendable {
  private struct Entry {
    weak var shortCut: ShortCut?
  }

  /// Whether ends may be joined.
  private let isEnabled = Atomic(false)
  private let entries = Mutex<[Entry]>([])

  /// Has ends joined that are opened from now on.
  func enable() { isEnabled.store(true, ordering: .relaxed) }

  /// How many lanes are joined now: two for each ring pair of a joined veth.
  var joinedLanes: Int {
    entries.withLock { $0.compactMap(\.shortCut) }.reduce(0) { $0 + $1.joinedCount }
  }

  /// The end that an interface has of a short cut. The first end of a veth makes the short cut, the second one finds it.
  ///
  /// - Parameters:
  ///   - interface: The interface, of any kind.
  ///   - geometry: The rings of the port.
  ///   - monitor: Reports changes of the interface.
  /// - Returns: Nil for an interface that cannot have a short cut: it is no veth, its rings differ in number or size, or
  ///   descriptors have run out. The port then works without one.
  func end(
    of interface: LinuxInterface, _ geometry: PortGeometry, monitor: LinkMonitor
  ) -> ShortCutEnd? {
    let pairs = geometry.transmitRings
    guard isEnabled.load(ordering: .relaxed), pairs == geometry.receiveRings,
      geometry.transmitSlots == geometry.receiveSlots,
      let layout = ShortCutLayout(pairs: pairs, slots: geometry.transmitSlots),
      let veth = try? VethEnd(interface)
    else { return nil }
    return entries.withLock { entries in
      entries.removeAll { $0.shortCut == nil }
      for entry in entries {
        if let known = entry.shortCut, known.layout == layout,
          let end = known.claim(by: veth, monitor: monitor)
        {
          return end
        }
      }
      guard let made = try? ShortCut(layout, named: interface.name) else { return nil }
      entries.append(Entry(shortCut: made))
      return made.claim(by: veth, monitor: monitor)
    }
  }
}

/// The end that one port has of a short cut, until the object is destroyed.
final class ShortCutEnd: Sendable {
  let shortCut: ShortCut
  let side: Int
  private let monitor: LinkMonitor
  private let watch: LinkMonitor.Watch

  init(_ shortCut: ShortCut, _ side: Int, _ monitor: LinkMonitor, _ watch: LinkMonitor.Watch) {
    self.shortCut = shortCut
    self.side = side
    self.monitor = monitor
    self.watch = watch
  }

  deinit {
    monitor.end(watch)
    shortCut.leave(side)
  }
}
