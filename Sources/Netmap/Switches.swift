public import NetmapCore

/// The VALE switches of an engine, for whoever manages them: `NETMAP_REQ_VALE_*`.
///
/// A switch appears with its first port and goes with its last one. Ports that programs open
/// (`vale0:a`) come and go with them; persistent ports are made here, stay, and are put on switches here.
public struct Switches: Sendable {
  let provider: any BindingProvider

  init(_ provider: any BindingProvider) {
    self.provider = provider
  }

  /// A port, and where it is on a switch.
  public struct Entry: Hashable, Sendable {
    /// The port's name, `vale0:a` or the like.
    public let name: String
    /// The switch's number.
    public let switchIndex: Int
    /// The port's index on the switch, 0 to 253; 255 where the switch has no such port.
    public let portIndex: Int
  }

  /// Rings and memory of a port.
  public struct Information: Hashable, Sendable {
    public let geometry: PortGeometry
    /// `nr_mem_id`.
    public let memoryID: UInt16
    /// Bytes of that memory.
    public let memorySize: Int
  }

  /// Puts a persistent port or a network interface on a switch.
  ///
  /// An interface has all of its rings there, and belongs to the switch until it is detached: what it receives
  /// goes to the switch, and nobody can open it. A thread of the engine carries its packets; an embedded
  /// engine lives until then. Interfaces are those of the calling thread's network namespace.
  ///
  /// - Parameters:
  ///   - name: `valeSWITCH:PORT`.
  ///   - memoryID: A memory region that must exist, for an interface while it is on the switch; 0 for one of
  ///     its own. A persistent port keeps its own.
  ///   - withHostRings: Whether the host's stack joins as well.
  ///   - backpressure: Whether senders keep what the port has no room for, until it has; otherwise that is
  ///     dropped.
  /// - Returns: Where it is now.
  /// - Throws: ``NetmapError`` `EBUSY` when it is on a switch already or open, `EINVAL` when there is no such
  ///   port or interface, or for host rings, which are not supported yet; `ENOMEM` when the switch is full,
  ///   and whatever opening an interface can fail with.
  @discardableResult
  public func attach(
    _ name: PortName, memoryID: UInt16 = 0, withHostRings: Bool = false, backpressure: Bool = false
  ) throws(NetmapError) -> Entry {
    entry(
      try provider.answer(
        .attach(
          RegisterRequest(
            name: name, selection: withHostRings ? .hardwareAndHost : .allHardware,
            flags: backpressure ? .backpressure : [], memoryID: memoryID))))
  }

  /// Takes a persistent port or a network interface off a switch.
  ///
  /// An interface is as it was before when this returns. What had been sent to it goes out first, which takes
  /// some milliseconds; what it does not take in 0.2 s is lost.
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when it is not there, `EBUSY` when it is open, polled, or was put on
  ///   another switch later.
  @discardableResult
  public func detach(_ name: PortName) throws(NetmapError) -> Entry {
    entry(try provider.answer(.detach(name)))
  }

  /// Makes a persistent port.
  ///
  /// - Throws: ``NetmapError`` `EEXIST` when the name is taken, `EINVAL` when it cannot be a port's.
  @discardableResult
  public func create(
    _ name: PortName, _ hints: RingGeometryHints = .none, memoryID: UInt16 = 0
  ) throws(NetmapError) -> Information {
    information(
      try provider.answer(
        .create(RegisterRequest(name: name, memoryID: memoryID, hints: hints))))
  }

  /// Removes a persistent port.
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when there is none, `EBUSY` when it is open or attached.
  public func remove(_ name: PortName) throws(NetmapError) {
    _ = try provider.answer(.remove(name))
  }

  /// Where a port is.
  ///
  /// - Throws: ``NetmapError`` `ENOENT` when there is no such switch, `EINVAL` for other names.
  public func find(_ name: PortName) throws(NetmapError) -> Entry {
    entry(try provider.answer(.find(name)))
  }

  /// Rings and memory of a port, which is made if it can be and is gone again with the answer.
  ///
  /// - Throws: ``NetmapError`` as opening it would.
  public func information(on name: PortName) throws(NetmapError) -> Information {
    information(try provider.answer(.information(name)))
  }

  /// Has every frame of a port begin with a virtio-net header (`PORT_HDR_SET`), also of those who have it
  /// open. Programs open it with ``BindingFlags/acceptVirtioNetHeader`` from then on.
  ///
  /// Between ports with headers of different lengths the switch converts; a port without headers gets
  /// packets with their checksums completed, cut into segments where they have to be.
  ///
  /// - Parameters:
  ///   - length: Bytes: 0 for none, 10, or 12.
  ///   - name: A port that is open on a switch.
  /// - Throws: ``NetmapError`` `EINVAL` for other lengths, `ENXIO` when there is no such port.
  public func setVirtioNetHeader(_ length: Int, of name: PortName) throws(NetmapError) {
    _ = try provider.answer(.setHeader(name, length: length))
  }

  /// Bytes of the virtio-net header before each frame of a port: 0, 10 or 12 (`PORT_HDR_GET`).
  ///
  /// - Throws: ``NetmapError`` `ENXIO` when there is no such port, `ENODEV` for a pipe that nobody has made.
  public func virtioNetHeader(of name: PortName) throws(NetmapError) -> Int {
    try provider.answer(.header(name)).headerLength
  }

  /// Every port of every switch.
  ///
  /// - Throws: ``NetmapError`` when the engine cannot be asked.
  public func all() throws(NetmapError) -> [Entry] {
    var result: [Entry] = []
    var (bridge, port) = (0, 0)
    while true {
      do throws(NetmapError) {
        let found = entry(try provider.answer(.next(switch: bridge, port: port)))
        result.append(found)
        (bridge, port) = (found.switchIndex, found.portIndex + 1)
      } catch {
        guard error.code == .noSuchEntry else { throw error }
        return result
      }
    }
  }

  /// Has threads look at the rings of an attached interface all the time, instead of sleeping until something
  /// arrives: less delay, for whole CPUs.
  ///
  /// - Parameters:
  ///   - name: `valeSWITCH:INTERFACE`.
  ///   - cpus: Where they run.
  /// - Throws: ``NetmapError``: `EINVAL` for CPUs or rings that do not exist, or that leave none to others;
  ///   `ENXIO` when there is no such port, `EOPNOTSUPP` for ports that are no interface, `EFAULT` when it is
  ///   polled already.
  public func poll(_ name: PortName, on cpus: PollingCPUs) throws(NetmapError) {
    _ = try provider.answer(.polling(name, cpus))
  }

  /// Ends polling.
  ///
  /// - Throws: ``NetmapError``: as ``poll(_:on:)``, `EFAULT` when it is not polled.
  public func stopPolling(_ name: PortName) throws(NetmapError) {
    _ = try provider.answer(.polling(name, nil))
  }

  private func entry(_ answer: SwitchAnswer) -> Entry {
    Entry(name: answer.name, switchIndex: answer.switchIndex, portIndex: answer.portIndex)
  }

  private func information(_ answer: SwitchAnswer) -> Information {
    Information(
      geometry: answer.geometry, memoryID: answer.memoryID, memorySize: answer.memorySize)
  }
}

extension PortEngine {
  /// The engine's switches.
  public var switches: Switches { Switches(access.provider) }
}
